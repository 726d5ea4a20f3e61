"""Accounts: signing in, locks, names that several pools have, addresses, groups."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.database import Database
from loopwright.people.accounts import CONFIRMED, FORCE_CHANGE, Accounts, SignInError, User
from loopwright.people.passwords import POLICY_DEFAULT, new_password, weakness
from loopwright.people.pools import Pools
from loopwright.people.sessions import INVITATION, Sessions
from loopwright.people.tables import METADATA
from loopwright.wire.errors import ApiError

WORD = "Correct-Horse-7"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/people.db")
    METADATA.create_all(found.engine)
    yield found
    found.close()


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


def add(accounts: Accounts, name: str, word: str = WORD, pool: str = "p") -> User:
    email = f"{name}@example.com"
    return accounts.add(pool, name, {"email": email}, 1.0, password=word, status=CONFIRMED)


def test_people_sign_in_by_name_and_by_address(accounts: Accounts) -> None:
    add(accounts, "ana")
    assert accounts.sign_in("ana", WORD, 2.0).username == "ana"
    assert accounts.sign_in(" ANA@Example.com ", WORD, 2.0).username == "ana"
    for name, word in (("ana", "wrong"), ("ana", ""), ("", ""), ("nobody", WORD)):
        with pytest.raises(SignInError, match="Incorrect username or password"):
            accounts.sign_in(name, word, 2.0)


def test_guesses_lock_for_longer_and_longer(accounts: Accounts) -> None:
    add(accounts, "ana")
    now, waits = 10.0, []
    for _ in range(8):
        with pytest.raises(SignInError):
            accounts.sign_in("ana", "wrong", now)
        wait = 0.0
        while True:
            try:
                accounts.sign_in("ana", "wrong", now + wait)
            except SignInError as error:
                if "Too many" not in str(error):
                    break
            wait += 0.5
        waits.append(wait)
        now += wait
    assert waits[:2] == [0.0, 0.0]
    assert waits[-1] == 32
    assert waits == sorted(waits)
    with pytest.raises(SignInError, match="Too many"):
        accounts.sign_in("ana", WORD, now)
    assert accounts.sign_in("ana", WORD, now + 1000).username == "ana"
    with pytest.raises(SignInError, match="Incorrect"):
        accounts.sign_in("ana", "wrong", now + 1001)


def test_signing_in_locks_nobody_of_the_same_name_elsewhere(accounts: Accounts) -> None:
    add(accounts, "bob", WORD, "one")
    add(accounts, "bob", "Another-Word-8", "two")
    for _ in range(12):
        assert accounts.sign_in("bob", WORD, 5.0).pool == "one"
    assert accounts.sign_in("bob", "Another-Word-8", 5.0).pool == "two"


def test_temporary_passwords_end_and_disabled_people_stay_out(accounts: Accounts) -> None:
    user = accounts.add("p", "ana", {}, 1.0, password=WORD, password_until=100.0)
    assert accounts.sign_in("ana", WORD, 99.0).status == FORCE_CHANGE
    with pytest.raises(SignInError, match="expired"):
        accounts.sign_in("ana", WORD, 100.0)
    accounts.set_password(user, WORD, 101.0, permanent=True)
    assert accounts.sign_in("ana", WORD, 1e9).status == CONFIRMED
    accounts.set_enabled(user, False, 102.0)
    with pytest.raises(SignInError, match="disabled"):
        accounts.sign_in("ana", WORD, 103.0)
    accounts.set_enabled(user, True, 104.0)
    accounts.require_reset(user, 105.0)
    with pytest.raises(SignInError, match="Incorrect"):
        accounts.sign_in("ana", "", 106.0)


def test_another_password_ends_sessions_and_links(accounts: Accounts, database: Database) -> None:
    sessions = Sessions(database)
    user = add(accounts, "ana")
    token = sessions.open(user.sub, 1.0)
    link = sessions.link(INVITATION, user.sub, 1.0, 100.0)
    assert sessions.get(token, 2.0) is not None
    assert sessions.linked(link, INVITATION, 2.0) == user.sub
    accounts.set_password(user, WORD + "x", 3.0, permanent=True)
    assert sessions.get(token, 4.0) is None
    assert sessions.redeem(link, INVITATION, 4.0) is None
    again = sessions.link(INVITATION, user.sub, 5.0, 100.0)
    assert sessions.redeem(again, "owner", 6.0) is None
    assert sessions.redeem(again, INVITATION, 6.0) == user.sub
    assert sessions.redeem(again, INVITATION, 6.0) is None


def test_names_and_addresses_are_of_one_user(accounts: Accounts) -> None:
    ana, ben = add(accounts, "ana"), add(accounts, "ben")
    with pytest.raises(ApiError) as refused:
        accounts.add("p", "cat", {"email": "ANA@example.com"}, 1.0)
    assert refused.value.code == "UsernameExistsException"
    with pytest.raises(ApiError) as refused:
        accounts.set_attributes(ben, {"email": "Ana@Example.com"}, 2.0)
    assert refused.value.code == "AliasExistsException"
    accounts.set_attributes(ana, {"email": "", "name": "Ana"}, 3.0)
    accounts.set_attributes(ben, {"email": "ana@example.com"}, 4.0)
    assert accounts.sign_in("ana@example.com", WORD, 5.0).sub == ben.sub
    assert accounts.find("p", ana.sub).attributes == {"name": "Ana", "sub": ana.sub}
    accounts.remove(ana)
    assert add(accounts, "ana2").sub != ana.sub
    assert accounts.by_sub(ana.sub) is None


def test_groups_are_of_the_pool(accounts: Accounts, database: Database) -> None:
    user = add(accounts, "ana")
    Pools(database).add_group("p", "team", {})
    accounts.join(user, "team")
    accounts.join(user, "team")
    assert [member.username for member in accounts.in_group("p", "team")] == ["ana"]
    with pytest.raises(ApiError, match="Group not found"):
        accounts.join(user, "other")
    accounts.set_groups(user, ["b", "a", "a"])
    assert accounts.groups_of(user) == ["a", "b"]
    accounts.leave(user, "a")
    assert accounts.groups_of(user) == ["b"]


@pytest.mark.parametrize(
    ("word", "lacks"),
    [
        ("Sh0rt!", "8 characters"), ("x" * 257, "too long"), ("lower-case-7", "upper-case"),
        ("UPPER-CASE-7", "lower-case"), ("No-Digits-Here", "digit"), ("NoSymbols77", "symbol"),
        (WORD, ""),
    ],
)  # fmt: skip
def test_what_a_password_lacks(word: str, lacks: str) -> None:
    found = weakness(word, POLICY_DEFAULT)
    assert (lacks in found) if lacks else not found
    assert weakness(new_password({**POLICY_DEFAULT, "MinimumLength": 99}), POLICY_DEFAULT) == ""
