"""Who is calling, and may they: signatures, temporary credentials, policies, conditions."""
