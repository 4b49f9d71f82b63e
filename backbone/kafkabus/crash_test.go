package kafkabus_test

const childEnv = "SOUK_KAFKABUS_CHILD"

func child() {}
