package house

import "example.org/souk/gateway/door"

// SignIn is a link that lets somebody in once; that of accounts is for everybody who has one.
type SignIn struct{ Who, URL string }

// SignIns makes a link for one of everybody who comes by a browser, and names the one of people with an account outside.
func (h *House) SignIns() ([]SignIn, error) {
	var links []SignIn
	for _, one := range []struct {
		who   string
		grant door.Grant
	}{
		{"customer", door.Grant{Role: door.Customer, Subject: "amina"}},
		{"clerk", door.Grant{Role: door.Staff, Rank: door.Clerk, Subject: "clerk"}},
		{"manager", door.Grant{Role: door.Staff, Rank: door.Manager, Subject: "manager"}},
		{"engineer", door.Grant{Role: door.Engineer, Subject: "engineer"}},
		{"kiosk", door.Grant{Role: door.Device, Subject: "kiosk-1"}},
	} {
		code, err := h.Authority.Link(one.grant)
		if err != nil {
			return nil, err
		}
		links = append(links, SignIn{one.who, h.URL() + "/sign-in/" + code})
	}
	if address := h.accounts(); address != "" {
		links = append(links, SignIn{"account", address})
	}
	return links, nil
}
