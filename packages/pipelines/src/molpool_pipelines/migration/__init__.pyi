from ._migrate import migrate_files as migrate_files
