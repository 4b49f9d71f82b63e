package baskets

import (
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

func expireWhenStarted(e event.BasketStarted, _ backbone.Meta) []backbone.Effect {
	return expire(e.Basket, e.Expires)
}

func expireWhenExtended(e event.BasketExtended, _ backbone.Meta) []backbone.Effect {
	return expire(e.Basket, e.Expires)
}

func endWhenCanceled(e event.BasketCanceled, _ backbone.Meta) []backbone.Effect { return end(e.Basket) }

func endWhenCheckedOut(e event.BasketCheckedOut, _ backbone.Meta) []backbone.Effect {
	return end(e.Basket)
}

func expire(basket string, at int64) []backbone.Effect {
	return []backbone.Effect{backbone.SetTimer(timer(basket), time.UnixMicro(at).UTC(),
		command.CancelBasket{Basket: basket, Reason: mall.ReasonBasketExpired})}
}

func end(basket string) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(timer(basket))}
}

func timer(basket string) string { return "expire/" + basket }
