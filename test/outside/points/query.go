package points

import (
	"context"
	"errors"

	"example.org/souk/backbone"
)

// Of returns a customer's points, 0 for one who has none.
func Of(ctx context.Context, r *backbone.Reader, customer string) (points int64, err error) {
	rows, err := r.Query(ctx, `SELECT points FROM {points} WHERE customer = $1`, customer)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&points)
	}
	return points, errors.Join(err, rows.Err())
}
