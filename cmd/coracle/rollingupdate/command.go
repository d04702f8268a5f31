package rollingupdate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
)

// Name is the program's name, by which kubectl finds it.
const Name = "kubectl-rolling_update"

// Command makes the command, as which the program is run under Name.
func Command() *cobra.Command {
	flags := genericclioptions.NewConfigFlags(true)
	var file string
	var back bool
	r := &roller{}
	c := &cobra.Command{
		Use:   "kubectl rolling-update OLD_CONTROLLER_NAME -f NEW_CONTROLLER_SPEC",
		Short: "Perform a rolling update of a ReplicationController",
		Long: `Replaces a ReplicationController by another, one pod at a time. Each new pod is waited for to be ready
before an old one goes. When all are replaced, the old controller is deleted.

The new controller must have another name, and another value of at least one label of the selector.
If the update is interrupted, the same command goes on with it.`,
		Example: `  kubectl rolling-update frontend-v1 -f frontend-v2.yaml
  cat frontend-v2.yaml | kubectl rolling-update frontend-v1 -f -
  kubectl rolling-update frontend-v1 -f frontend-v2.yaml --rollback`,
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, args []string) error {
			r.out = c.OutOrStdout()
			replacement, err := r.read(flags, file)
			if err != nil {
				return err
			}
			do := r.update
			if back {
				do = r.rollback
			}
			err = do(c.Context(), args[0], replacement)
			if errors.Is(err, context.Canceled) {
				return errors.New("interrupted; run the command again to go on, or with --rollback to go back")
			}
			return err
		},
	}
	flags.AddFlags(c.Flags())
	c.Flags().StringVarP(&file, "filename", "f", "", "File or URL that has the new ReplicationController, or - for standard input")
	c.Flags().BoolVar(&back, "rollback", false, "Take back an update that was interrupted")
	c.Flags().DurationVar(&r.period, "update-period", 0, "Time to wait between two pods")
	c.Flags().DurationVar(&r.timeout, "timeout", 5*time.Minute, "Time that each pod may take to be ready")
	_ = c.MarkFlagRequired("filename")
	return c
}

// read reads the new controller, and makes the client of its namespace.
func (r *roller) read(flags *genericclioptions.ConfigFlags, file string) (*corev1.ReplicationController, error) {
	namespace, enforce, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	infos, err := resource.NewBuilder(flags).
		WithScheme(scheme.Scheme, corev1.SchemeGroupVersion).
		NamespaceParam(namespace).DefaultNamespace().
		FilenameParam(enforce, &resource.FilenameOptions{Filenames: []string{file}}).
		Flatten().Do().Infos()
	if err != nil {
		return nil, err
	}
	if len(infos) != 1 {
		return nil, fmt.Errorf("%s has %d objects; it must have one ReplicationController", file, len(infos))
	}
	rc, ok := infos[0].Object.(*corev1.ReplicationController)
	if !ok {
		return nil, fmt.Errorf("%s has a %s; it must have a ReplicationController", file, infos[0].Mapping.GroupVersionKind.Kind)
	}
	cfg, err := flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	r.client = client.CoreV1().ReplicationControllers(infos[0].Namespace)
	return rc, nil
}
