"""Built-in images as plain programs behind the container contract: no control plane in here."""
