package shop

# Who may read orders, and who may change them. There is no default: what is not allowed is undefined.
allow if {
	input.method == "GET"
	input.path == ["v1", "orders", input.claims.sub]
}

allow if "admin" in input.claims.realm_access.roles

# The same as an object that says why.
verdict := {"allow": true} if allow

verdict := {"allow": false, "reason": "only admins may do this", "missing": ["admin"]} if not allow

# What a mistake looks like.
mistake := "yes"
