Links with seconds of delay: deadlines, silence and shares allow for the way, which each worker measures; nothing is copied or taken back because of it.
