//! Byron: poetry over TCP as supervised actors.
