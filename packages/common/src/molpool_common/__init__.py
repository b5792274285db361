"""What the molpool packages and commands share.

Import from the modules: `molpool_common.config`, `.errors`, `.runfolder`, `.splits`, `.metrics`,
`.table`, `.datasets`, `.demo`, `.tracking`, `.plotting`, `.report` and `.cli`. Nothing heavy is
imported here.
"""
