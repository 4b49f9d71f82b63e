package backbone

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"example.org/souk/backbone/driver"
)

// VerifyTail checks the newest seals of a log, at most so many, and that its end is
// the one that is known from elsewhere (its zero value is none). It costs the same
// however long the log is; what lies before is Verify's to check. It returns a
// *TamperError for the first thing that is wrong.
func (r *Reader) VerifyTail(ctx context.Context, kept Seal, seals int) (AuditReport, error) {
	report := AuditReport{Service: r.service}
	bad := func(position int64, format string, args ...any) error {
		return &TamperError{r.service, position, fmt.Sprintf(format, args...)}
	}
	head, err := r.store.Head(ctx, r.service)
	if err != nil {
		return report, err
	}
	if kept.To > head {
		return report, bad(head+1, "the log ends at %d, but its seal up to %d is known: its tail was cut off", head, kept.To)
	}
	// One more, which the first that is checked follows.
	records, err := r.store.Read(ctx, r.service, driver.ReadQuery{Kinds: []driver.Kind{driver.KindSeal}, Limit: seals + 1, Descending: true})
	if err != nil {
		return report, err
	}
	slices.Reverse(records)
	list := make([]Seal, len(records))
	for i := range records {
		if err := json.Unmarshal(records[i].Data, &list[i]); err != nil {
			return report, bad(records[i].Position, "the seal cannot be read: %v", err)
		}
	}
	if len(list) > seals {
		report.Head, list, records = list[0], list[1:], records[1:]
	} else if report.Head, err = baseSeal(ctx, r.store, r.service); err != nil {
		return report, err
	}
	foundKept := kept.Hash == "" || kept.To <= report.Head.To
	for i, s := range list {
		if err := r.follow(ctx, s, records[i].Position, &report); err != nil {
			return report, err
		}
		foundKept = foundKept || s.Hash == kept.Hash
	}
	if !foundKept {
		return report, bad(kept.From, "the seal that was kept elsewhere is not in the log: it was rewritten")
	}
	return report, nil
}
