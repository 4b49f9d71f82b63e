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

// chaos goes round: a service is paused, the payment provider or the mail server fails, a device or a robot is switched off, or a second one with the
// same login runs beside it, the mall is killed and started again; where it is many processes, one of them in turn, every other time, and a second
// one of a service runs beside it for a while. What comes when follows from the seed.
func (p *play) chaos(ctx context.Context) {
	chance := rand.New(rand.NewPCG(p.Seed, 0x43_48_41_4f))
	span := func() time.Duration {
		return time.Duration(float64(500+chance.IntN(1500)) / min(p.Speed, 4) * float64(time.Millisecond))
	}
	troubles := []func(context.Context, *rand.Rand, func() time.Duration){p.pauseOne, p.killOne, p.cutOne, p.failPayment, p.twinOne, p.failMail}
	if p.DB != "" {
		troubles = []func(context.Context, *rand.Rand, func() time.Duration){p.killOne, p.pauseOne, p.killOne, p.cutOne, p.killOne, p.failPayment, p.killOne, p.twinOne, p.killOne, p.failMail, p.killOne, p.doubleOne}
	}
	for at := 0; pause(ctx, span()); at++ {
		troubles[at%len(troubles)](ctx, chance, span)
	}
}

// pauseOne pauses a service for a while.
func (p *play) pauseOne(ctx context.Context, chance *rand.Rand, span func() time.Duration) {
	a := control.Args{"service": pausable[chance.IntN(len(pausable))], "actor": "demo"}
	err := p.mall.operate(ctx, "service pause", a, nil)
	p.noteUnless(ctx, err)
	if err == nil {
		p.pauses.Add(1)
		pause(ctx, span())
	}
	whole := context.WithoutCancel(ctx) // also where the question was cut off: it may have been heard
	p.noteUnless(ctx, untilDone(whole, func() error { return p.mall.operate(whole, "service resume", a, nil) }))
}

func (p *play) failPayment(ctx context.Context, _ *rand.Rand, span func() time.Duration) {
	p.noteUnless(ctx, p.payment.SetFaults(paystandin.Faults{Seed: p.Seed, FailPercent: 30, TimeoutPercent: 10, TimeoutMS: 200, DuplicateCallback: true}))
	pause(ctx, span())
	p.noteUnless(ctx, p.payment.SetFaults(paystandin.Faults{}))
}

func (p *play) failMail(ctx context.Context, _ *rand.Rand, span func() time.Duration) {
	p.noteUnless(ctx, p.mail.SetFaults(mailstandin.Faults{Seed: p.Seed, DropPercent: 20, SlowMS: 50}))
	pause(ctx, span())
	p.noteUnless(ctx, p.mail.SetFaults(mailstandin.Faults{}))
}

// cutOne switches a device or a robot off for a while.
func (p *play) cutOne(ctx context.Context, chance *rand.Rand, span func() time.Duration) {
	all := p.appliances()
	p.cuts.Add(1)
	all[chance.IntN(len(all))].cut(ctx, span())
}

// twinOne has a second device or robot with the same login for a while.
func (p *play) twinOne(ctx context.Context, chance *rand.Rand, span func() time.Duration) {
	all := p.appliances()
	p.twins.Add(1)
	all[chance.IntN(len(all))].twin(ctx, span())
}

// doubleOne has a second process of a service for a while, which is killed.
func (p *play) doubleOne(ctx context.Context, chance *rand.Rand, span func() time.Duration) {
	second := p.mall.second(chance)
	if second == nil {
		return
	}
	if err := second.begin(ctx); err != nil {
		p.noteUnless(ctx, err)
		return
	}
	p.twins.Add(1)
	pause(ctx, span())
	_, err := second.kill()
	p.noteUnless(ctx, err)
}

// killOne kills a process and starts it again; where others go on meanwhile, after a while.
func (p *play) killOne(ctx context.Context, _ *rand.Rand, span func() time.Duration) {
	name, err := p.mall.kill()
	p.noteUnless(ctx, err)
	if name == "" {
		return
	}
	p.kills.Add(1)
	killed := p.result.Killed // nobody else looks before the chaos has ended
	killed[name]++
	if p.DB != "" {
		pause(ctx, span())
	}
	p.noteUnless(ctx, p.mall.start(context.WithoutCancel(ctx)))
	if killed[name] == 1 && len(killed) == len(p.mall.processes()) {
		close(p.round)
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
