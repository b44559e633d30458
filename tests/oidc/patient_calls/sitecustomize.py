"""A server under test waits for the provider as long as a test does.

Python imports this module at its start when the folder is on PYTHONPATH.
"""

from openengagement.sign_in import provider

PATIENCE_S = 120

provider._CALL_S = PATIENCE_S
provider._STEP_S = PATIENCE_S
