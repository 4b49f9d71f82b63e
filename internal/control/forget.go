package control

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
)

func forgetCustomer(ctx context.Context, h *house.House, a Args, emit Emit) error {
	if err := h.Forget(ctx, a["customer"], backbone.By("operator:"+a["actor"])); err != nil {
		return err
	}
	return emit(struct {
		Forgotten string `json:"forgotten"`
	}{a["customer"]})
}

// forgetAll destroys the keys of a list, whatever runs, and then has the mall know of it, which fails where it does not run.
func forgetAll(ctx context.Context, h *house.House, a Args, emit Emit) error {
	list, err := house.ReadForgotten(strings.NewReader(a["list"]))
	if err != nil {
		return err
	}
	known, back, err := h.ForgetAgain(ctx, list)
	if err != nil {
		return err
	}
	told, err := h.TellForgotten(ctx, known, backbone.By("operator:"+a["actor"]))
	note := ""
	if err != nil {
		note = "keys are destroyed; do it again when the mall runs, so that it forgets them as customers: " + err.Error()
	}
	return emit(struct {
		Listed int    `json:"listed"`
		Known  int    `json:"known"`
		Keys   int    `json:"keysDestroyed"`
		Told   int    `json:"customersForgotten"`
		Note   string `json:"note"`
	}{len(list), len(known), back, told, note})
}

func whoIsForgotten(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	list, err := h.WhoIsForgotten(ctx)
	if err != nil {
		return err
	}
	for _, hash := range slices.Sorted(maps.Keys(list)) {
		if err := emit(text{hash + " " + list[hash].Format(time.RFC3339) + "\n"}); err != nil {
			return err
		}
	}
	return nil
}
