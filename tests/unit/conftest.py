from __future__ import annotations

import hypothesis

# How long an example takes says more of what else the machine does.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
