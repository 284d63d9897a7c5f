"""Trained models taken out of the suite: read, trained again where they were not kept, exported, used."""
