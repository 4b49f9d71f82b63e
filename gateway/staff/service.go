package staff

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// ServiceName is the name of the gateway's service.
const ServiceName = "staff"

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the gateway's service: what needs a second person. open returns the command that opens a gate, once for each key; nil
// where there are no gates.
func Service(open func(gate, key string) backbone.Command) *backbone.Service {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return &backbone.Service{
		Name:  ServiceName,
		About: "Minds what needs a second person: refunds, opening a gate by hand.",
		Handles: []backbone.Handler{
			backbone.Decide(approvals, ask(open != nil)),
			backbone.Decide(approvals, give),
			backbone.Decide(approvals, refuse),
			backbone.Decide(approvals, settle),
		},
		Sends:      []backbone.Command{},
		Sagas:      []backbone.SagaDefinition{carrying(open)},
		Views:      []backbone.View{questions},
		Migrations: files,
	}
}

// The statuses of an approval, as it is shown.
const (
	waiting = "waiting"
	given   = "given"
	refused = "refused"
	done    = "done"
	failed  = "failed"
)

// questions is inline: what was decided is not shown as waiting.
var questions = backbone.View{
	Name:   "approvals",
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e ApprovalAsked) error {
			return tx.Exec(ctx, `INSERT INTO {approvals} (approval, what, subject, amount, currency, reason, status, waits, asker, asked, decider, detail)
				VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, '', '')`,
				e.Approval, string(e.What), e.Subject, e.Amount.Amount, e.Amount.Currency, e.Reason, waiting, e.Asker, tx.Message().Time.UnixMicro())
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e ApprovalGiven) error {
			return tx.Exec(ctx, `UPDATE {approvals} SET status = $2, waits = 0, decider = $3 WHERE approval = $1`, e.Approval, given, e.Decider)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e ApprovalRefused) error {
			return tx.Exec(ctx, `UPDATE {approvals} SET status = $2, waits = 0, decider = $3, detail = $4 WHERE approval = $1`,
				e.Approval, refused, e.Decider, e.Reason)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e ApprovalSettled) error {
			status := done
			if e.Code != "" {
				status = failed
			}
			return tx.Exec(ctx, `UPDATE {approvals} SET status = $2, detail = $3 WHERE approval = $1`, e.Approval, status, e.Detail)
		}),
	},
}

// Approval is what was asked for and what became of it.
type Approval struct {
	Approval string      `json:"approval"`
	What     What        `json:"what"`
	Subject  string      `json:"subject"`
	Amount   *mall.Money `json:"amount,omitempty"`
	Reason   string      `json:"reason"`
	Status   string      `json:"status"` // waiting, given, refused, done or failed
	Asker    string      `json:"asker"`
	Asked    time.Time   `json:"asked"`
	Decider  string      `json:"decider,omitempty"`
	Detail   string      `json:"detail,omitempty"`
}

const selectApprovals = `SELECT approval, what, subject, amount, currency, reason, status, asker, asked, decider, detail FROM {approvals} `

// latestApprovals returns up to limit approvals: those that wait, and then the others, each newest first.
func latestApprovals(ctx context.Context, r *backbone.Reader, limit int) ([]Approval, error) {
	return readApprovals(ctx, r, selectApprovals+`ORDER BY waits DESC, asked DESC LIMIT $1`, limit)
}

// approvalOf returns one approval; false for one that nobody asked for.
func approvalOf(ctx context.Context, r *backbone.Reader, id string) (Approval, bool, error) {
	list, err := readApprovals(ctx, r, selectApprovals+`WHERE approval = $1`, id)
	if err != nil || len(list) == 0 {
		return Approval{}, false, err
	}
	return list[0], true, nil
}

func readApprovals(ctx context.Context, r *backbone.Reader, sql string, args ...any) (list []Approval, err error) {
	rows, err := r.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("approvals: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var a Approval
		var what string
		var amount mall.Money
		var asked int64
		if err := rows.Scan(&a.Approval, &what, &a.Subject, &amount.Amount, &amount.Currency, &a.Reason, &a.Status, &a.Asker, &asked, &a.Decider, &a.Detail); err != nil {
			return nil, fmt.Errorf("approvals: %w", err)
		}
		a.What, a.Asked = What(what), time.UnixMicro(asked).UTC()
		if amount.Currency != "" {
			a.Amount = &amount
		}
		list = append(list, a)
	}
	return list, rows.Err()
}
