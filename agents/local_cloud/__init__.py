"""The embedded AWS for laptops, tests and CI: moto in a process of ours that boots its instances."""
