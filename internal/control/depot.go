package control

import (
	"context"

	"example.org/souk/internal/house"
	"example.org/souk/mall/depot"
)

// listShopping shows what robots fetch for orders: the lists that are not done, the oldest first; with all every one, by its id.
func listShopping(ctx context.Context, h *house.House, a Args, emit Emit) error {
	n, err := number(a, "limit", 100)
	if err != nil {
		return err
	}
	var lists []depot.List
	if r := h.Reader("depot"); a["all"] != "" {
		lists, err = depot.Lists(ctx, r, a["after"], int(n)+1)
	} else {
		lists, err = depot.OpenLists(ctx, r, int(n)+1)
	}
	if err != nil {
		return err
	}
	for i, l := range lists {
		if int64(i) == n {
			return emit(cut(n, longerList))
		}
		if err := emit(struct {
			List    string `json:"list"`
			Order   string `json:"order"`
			State   string `json:"state"`
			Robot   string `json:"robot"`
			Stops   int64  `json:"stops"`
			Settled int64  `json:"settled"`
		}(l)); err != nil {
			return err
		}
	}
	return nil
}
