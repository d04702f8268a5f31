// Package resilience checks what the API server withstands: input that is too large, too deep or not
// what it says it is; clients that stop half-way, read slowly, or watch by the thousand; and being
// killed again and again while it is written to.
//
// The server is a process of its own, the test binary under another name of its environment, so that
// it can be killed and its memory measured. Every refusal must name the field or the limit, and
// nobody else may be disturbed.
package resilience
