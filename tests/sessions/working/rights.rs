//! Who may work, and whose tokens are whose.
