package job

import (
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// noIndex is the index of a pod that has none.
const noIndex = -1

// indexSet is a set of completion indexes.
type indexSet map[int]bool

// parseIndexes reads "1,3-5,7", leaving out what is not below limit.
func parseIndexes(s string, limit int) indexSet {
	set := indexSet{}
	if s == "" {
		return set
	}
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		for i := a; i <= b && i < limit; i++ {
			set[i] = true
		}
	}
	return set
}

// format writes the set as "1,3-5,7". Two indexes in a row are "1,2".
func (s indexSet) format(limit int) string {
	var parts []string
	for i := 0; i < limit; i++ {
		if !s[i] {
			continue
		}
		first := i
		for i+1 < limit && s[i+1] {
			i++
		}
		switch i - first {
		case 0:
			parts = append(parts, strconv.Itoa(first))
		case 1:
			parts = append(parts, strconv.Itoa(first), strconv.Itoa(i))
		default:
			parts = append(parts, strconv.Itoa(first)+"-"+strconv.Itoa(i))
		}
	}
	return strings.Join(parts, ",")
}

// indexOf is the completion index of a pod, or noIndex.
func indexOf(p *corev1.Pod) int {
	v, ok := p.Annotations[batchv1.JobCompletionIndexAnnotation]
	if !ok {
		return noIndex
	}
	i, err := strconv.Atoi(v)
	if err != nil || i < 0 {
		return noIndex
	}
	return i
}

// failuresOf is how often the pod's index had failed when the pod was made.
func failuresOf(p *corev1.Pod, annotation string) int32 {
	n, err := strconv.ParseInt(p.Annotations[annotation], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}
