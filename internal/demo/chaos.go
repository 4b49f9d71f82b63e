package demo

import (
	"context"
	"math/rand/v2"
	"time"

	"example.org/souk/device/gate"
	"example.org/souk/internal/control"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
)

// troubled is what goes wrong at gates where there is chaos.
var troubled = gate.Faults{Duplicates: 10, Reorder: 10, Misreads: 3, Loss: 3, Offline: 3}

// pausable are services that are paused, a while each.
var pausable = []string{"inventory", "payments", "customers", "notifications", "orders", "fastlane", "greeter", "exitgate", "analytics", "stores"}

// chaos goes round: a service is paused, the payment provider or the mail server fails, the mall is killed and started again.
// What comes when follows from the seed.
func (p *play) chaos(ctx context.Context) {
	chance := rand.New(rand.NewPCG(p.Seed, 0x43_48_41_4f))
	span := func() time.Duration {
		return time.Duration(float64(500+chance.IntN(1500)) / min(p.Speed, 4) * float64(time.Millisecond))
	}
	for at := 0; ; at++ {
		if !pause(ctx, span()) {
			return
		}
		switch at % 4 {
		case 0:
			service := pausable[chance.IntN(len(pausable))]
			a := control.Args{"service": service, "actor": "demo"}
			err := operate(ctx, p.data, "service pause", a, nil)
			p.noteUnless(ctx, err)
			if err == nil {
				p.pauses.Add(1)
				pause(ctx, span())
			}
			// Also where the question was cut off: it may have been heard.
			p.noteUnless(ctx, untilDone(context.WithoutCancel(ctx), func() error { return operate(context.WithoutCancel(ctx), p.data, "service resume", a, nil) }))
		case 1:
			p.noteUnless(ctx, p.payment.SetFaults(paystandin.Faults{Seed: p.Seed, FailPercent: 30, TimeoutPercent: 10, TimeoutMS: 200, DuplicateCallback: true}))
			pause(ctx, span())
			p.noteUnless(ctx, p.payment.SetFaults(paystandin.Faults{}))
		case 2:
			p.noteUnless(ctx, p.mail.SetFaults(mailstandin.Faults{Seed: p.Seed, DropPercent: 20, SlowMS: 50}))
			pause(ctx, span())
			p.noteUnless(ctx, p.mail.SetFaults(mailstandin.Faults{}))
		case 3:
			if p.mall.kill() {
				p.kills.Add(1)
				p.noteUnless(ctx, p.mall.start(context.WithoutCancel(ctx)))
			}
		}
	}
}

// noteUnless notes an error unless the play is over.
func (p *play) noteUnless(ctx context.Context, err error) {
	if ctx.Err() == nil {
		p.note(err)
	}
}

// pause waits and reports whether ctx lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
