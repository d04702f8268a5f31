package controllers

import (
	ctrl "sigs.k8s.io/controller-runtime"

	"coracle.dev/coracle/controllers/bootstrapsigner"
	"coracle.dev/coracle/controllers/csrapproving"
	"coracle.dev/coracle/controllers/csrcleaning"
	"coracle.dev/coracle/controllers/csrsigning"
	"coracle.dev/coracle/controllers/serviceaccounttoken"
	"coracle.dev/coracle/controllers/tokencleaner"
)

// identityEntries are the controllers of certificates and tokens.
func identityEntries() []entry {
	return []entry{
		{"certificatesigningrequest-approving-controller", func(m ctrl.Manager, _ Options) error { return csrapproving.New(m).SetupWithManager(m) }},
		{"certificatesigningrequest-signing-controller", addSigning},
		{"certificatesigningrequest-cleaner-controller", func(m ctrl.Manager, _ Options) error { return csrcleaning.New(m).SetupWithManager(m) }},
		{"serviceaccount-token-controller", func(m ctrl.Manager, o Options) error {
			return serviceaccounttoken.New(m, o.RootCA).SetupWithManager(m)
		}},
		{"bootstrap-signer-controller", func(m ctrl.Manager, _ Options) error { return bootstrapsigner.New(m).SetupWithManager(m) }},
		{"token-cleaner-controller", func(m ctrl.Manager, _ Options) error { return tokencleaner.New(m).SetupWithManager(m) }},
	}
}

func addSigning(m ctrl.Manager, o Options) error {
	if o.ClusterSigningCertFile == "" || o.ClusterSigningKeyFile == "" {
		return nil
	}
	r, err := csrsigning.New(m, o.ClusterSigningCertFile, o.ClusterSigningKeyFile)
	if err != nil {
		return err
	}
	if o.ClusterSigningDuration > 0 {
		r.Duration = o.ClusterSigningDuration
	}
	return r.SetupWithManager(m)
}
