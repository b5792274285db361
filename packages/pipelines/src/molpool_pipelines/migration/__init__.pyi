from .migrate import migrate_files as migrate_files
