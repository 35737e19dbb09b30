A machine on which programs fail that others run well is put aside, longer each time, and let back with one small
piece; it is never the last.  A request that waits gets its share of the workers as soon as jobs end, however much
work others hold.  A worker whose old session is silent gets its identity back.
