#!/usr/bin/env bash
# Whether `pip install --user` is allowed in a virtual environment hangs on the spelling of a setting that Python
# itself reads otherwise; and since 25.3 on a variable of Python's library besides.
#
# Surprising: Python's `site` takes `include-system-site-packages` of pyvenv.cfg as on for `true` alone, as off for
# every other word. pip looks for the words `true` and `false` alone: with `false` it refuses `--user` ("User
# site-packages are not visible in this virtualenv"), with any other word, such as `no`, pip up to 25.0 goes on, although
# Python keeps the user's folder out of sys.path for both: the installation succeeds and the package cannot be imported.
# From 25.3 on pip asks `site.ENABLE_USER_SITE` as well and refuses in other words ("are disabled for this Python").
# A .pth file of the environment that sets this variable lets it pass again: such a file runs after `site` has decided.
# Documented: PEP 405 and the library's page of `site` speak of true and false; nothing says what pip does with others.
# A product that lays an environment over another one, and wants scripts with `--user` to work there, needs all three:
# a word that pip does not know, ENABLE_USER_SITE, and PYTHONUSERBASE naming the environment itself.
# Seen: CPython 3.11.7; pip 23.2.1, 25.0, 25.3, 26.2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 HOME="$folder/home"
unset PYTHONUSERBASE PIP_USER
install() { "$1/bin/python" -m pip install --quiet --user --force-reinstall six==1.17.0 >"$folder/said" 2>&1; }
for pip in 23.2.1 25.0 25.3 26.2; do
  env="$folder/$pip"
  python3 -m venv "$env"
  "$env/bin/python" -m pip install --quiet "pip==$pip"
  if install "$env"; then exit 1; fi
  grep -q "not visible in this virtualenv" "$folder/said"
  sed -i "s/^include-system-site-packages = .*/include-system-site-packages = no/" "$env/pyvenv.cfg"
  [ "$("$env/bin/python" -c 'import site; print(site.ENABLE_USER_SITE)')" = False ]
  if install "$env"; then code=0; else code=$?; fi
  if "$env/bin/python" -c 'import six' 2>/dev/null; then exit 1; fi
  echo "pip $pip: false refuses; no ends with $code and leaves nothing that can be imported"
  case $pip in
    25.3 | 26.2) [ "$code" != 0 ] && grep -q "disabled for this Python" "$folder/said" ;;
    *) [ "$code" = 0 ] ;;
  esac
  packages=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "import site; site.ENABLE_USER_SITE = True" >"$packages/allow-user.pth"
  PYTHONUSERBASE="$env" install "$env"
  "$env/bin/python" -c 'import six; print("  with a .pth file and PYTHONUSERBASE: installed and imported")'
done
