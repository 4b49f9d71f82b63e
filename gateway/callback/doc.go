// Package callback is the way in for whom the mall calls: a payment provider tells there by itself what its calls came to.
//
// Nobody signs in there. A callback is signed instead, as the Standard Webhooks convention has it, and what checks the
// signature and the age and reads the callback is given to Register by the root of the program (Open). It is answered with
//
//   - 204 once what it says is durable, so that the sender may forget it;
//   - 401 where it is not the provider's, or too old;
//   - 413 where it is too large;
//   - 503 and Retry-After where nothing could be kept, so that it is sent again.
//
// All copies of a callback, which have one id, are taken once. What is signed and says nothing that the mall waits for is
// answered with 204, too: sent again it would say no more.
package callback
