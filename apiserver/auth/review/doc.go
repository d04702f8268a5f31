// Package review serves the APIs that answer questions about authentication and authorization:
// TokenReview and SelfSubjectReview, the four access reviews, and the rules review. Nothing is stored:
// the answer is the request with its status filled in.
//
// The answers come from the very authenticator and authorizer that decide on requests.
package review
