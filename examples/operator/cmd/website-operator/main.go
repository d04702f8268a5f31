// Command website-operator runs the controller of Websites, and with --webhook-cert-dir their validation.
package main

import (
	"flag"
	"fmt"
	"os"

	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"coracle.dev/coracle/examples/operator/api/v1alpha1"
	"coracle.dev/coracle/examples/operator/controller"
)

func main() {
	certs := flag.String("webhook-cert-dir", "", "folder with tls.crt and tls.key; without it there is no validation")
	flag.Parse()
	if err := run(*certs); err != nil {
		fmt.Fprintln(os.Stderr, "website-operator:", err)
		os.Exit(1)
	}
}

func run(certs string) error {
	ctrl.SetLogger(klog.Background())
	if err := v1alpha1.AddToScheme(clientgoscheme.Scheme); err != nil {
		return err
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	o := ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: ":8081",
		LeaderElection: true, LeaderElectionID: "website-operator.examples.coracle.dev", LeaderElectionReleaseOnCancel: true,
	}
	if certs != "" {
		o.WebhookServer = webhook.NewServer(webhook.Options{CertDir: certs})
	}
	mgr, err := ctrl.NewManager(cfg, o)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := controller.New(mgr).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("adding the controller: %w", err)
	}
	if certs != "" {
		if err := controller.SetupWebhookWithManager(mgr); err != nil {
			return fmt.Errorf("adding the webhook: %w", err)
		}
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}
