package kiosk

// Prices is the topic of everything that the catalogue says.
const Prices = "prices"

// BasketTopic names what happens to a basket.
func BasketTopic(id string) string { return "basket/" + id }

// PaymentTopic names what happens to a payment.
func PaymentTopic(id string) string { return "payment/" + id }

// OrderTopic names what happens to an order, its picking included.
func OrderTopic(id string) string { return "order/" + id }
