-- include claim
-- Claims an input whose message is published elsewhere. KEYS and ARGV: as for claim.lua.
-- Returns {1 if this node processes it, count}.
return {1, mine}
