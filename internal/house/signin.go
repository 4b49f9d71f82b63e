package house

import (
	"errors"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/staff"
)

// SignIn is a link that lets somebody in once; that of accounts is for everybody who has one.
type SignIn struct{ Who, URL string }

// SignIn makes a link that lets somebody in once, within door.LinkTTL. It is good at this process alone, which has to take requests.
func (h *House) SignIn(g door.Grant) (url string, err error) {
	if h.Authority == nil || h.URL() == "" {
		return "", errors.New("no mall runs here, and a sign-in link is good at the process that made it: name the data directory of one that runs with --data, and no --db")
	}
	code, err := h.Authority.Link(g)
	return h.URL() + "/sign-in/" + code, err
}

// SignIns makes a link for one of everybody for whom there are pages here, and names the one of people with an account outside.
func (h *House) SignIns() ([]SignIn, error) {
	var links []SignIn
	works := h.runs(staff.ServiceName) || h.runs(consolePart)
	for _, one := range []struct {
		who   string
		pages bool
		grant door.Grant
	}{
		{"customer", h.runs(kioskPart), door.Grant{Role: door.Customer, Subject: "amina"}},
		{"clerk", works, door.Grant{Role: door.Staff, Rank: door.Clerk, Subject: "clerk"}},
		{"manager", works, door.Grant{Role: door.Staff, Rank: door.Manager, Subject: "manager"}},
		{"engineer", works, door.Grant{Role: door.Engineer, Subject: "engineer"}},
		{"kiosk", h.runs(kioskPart), door.Grant{Role: door.Device, Subject: "kiosk-1"}},
	} {
		if !one.pages {
			continue
		}
		url, err := h.SignIn(one.grant)
		if err != nil {
			return nil, err
		}
		links = append(links, SignIn{one.who, url})
	}
	if address := h.accounts(); address != "" {
		links = append(links, SignIn{"account", address})
	}
	return links, nil
}
