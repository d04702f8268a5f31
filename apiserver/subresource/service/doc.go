// Package service is what the API server does with Services beyond storing them: it gives them their
// addresses, address families and node ports, takes those back, and proxies to their endpoints.
//
// Addresses and ports are taken before a Service is stored and given back if that fails. What a change of
// type makes superfluous is dropped from the Service and given back once it is stored. The allocator is
// the only one who knows what is free; see package allocation.
package service
