//! Sources: doors that authenticate attackers' bytes, packs that decode them to signals, pollers; holds no administrator's credential.
