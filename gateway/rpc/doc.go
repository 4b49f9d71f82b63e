// Package rpc is the way in for programs of the shop and for the mall's other processes: the application services over gRPC,
// gRPC-Web and Connect, which is JSON over HTTP. It stands in every process, for the services that run there.
//
// The contract is api/proto. Each service has a file here, whose face says which methods there are, who may call them, and
// what answers them; faces.go lists the faces. So a service more is a protobuf file, a file here, and a line.
//
//	handler, err := rpc.New(rpc.Config{
//		Commands: runtime, Reader: runtime.Reader, Run: runtime.Services(), Changed: runtime.Changed,
//		Caller: caller, // who calls, from the connection's certificate or a bearer token
//	})
//
// What happens to a request, in this order: its caller is known, or it is refused; the policy of its method is asked, and says no where it
// says nothing; rates and the number of requests in flight are bounded; the message is read within its limit; the handler
// is called with a deadline. A message that carries a command becomes that command, which is validated, and is decided under its
// command_id, so that a repeat gets the first answer. Whatever goes wrong is answered with a code and details and
// nothing of how the program works inside; ErrorOf turns it back into the error that it was.
//
// A method whose policy gives a caller only what is its own asks the caller before it answers. One that forgets to is
// stopped when it tries to answer with success.
package rpc
