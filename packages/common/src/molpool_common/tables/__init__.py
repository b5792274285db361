"""Tables of any make read alike by every command: formats, cells, types; and written whole."""
