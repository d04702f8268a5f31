// Package definitions is where hack/openapi.sh has the OpenAPI definitions of the API types generated
// while it runs. They are 67,000 lines, needed only to build the documents that the API server embeds,
// and not kept.
package definitions
