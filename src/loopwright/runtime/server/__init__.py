"""The model server: HTTP on one side, the user's hooks or a framework's defaults on the other."""
