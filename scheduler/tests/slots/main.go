// Prints the slots that Kubernetes' CronJob controller would fire: it uses this library. Reads lines of
// `zone|schedule|first second|last second`, the seconds being Unix times, and appends the slots after the first second
// up to the last one, in Unix seconds.
//
//	go run . <questions.txt >slots.txt
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		if err := answer(out, lines.Text()); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", lines.Text(), err)
			os.Exit(1)
		}
	}
}

func answer(out *bufio.Writer, question string) error {
	parts := strings.Split(question, "|")
	schedule, err := cron.ParseStandard("TZ=" + parts[0] + " " + parts[1])
	if err != nil {
		return err
	}
	first, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return err
	}
	last, err := strconv.ParseInt(parts[3], 10, 64)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s|", strings.Join(parts[:4], "|"))
	separator := ""
	for slot := schedule.Next(time.Unix(first, 0)); !slot.IsZero() && slot.Unix() <= last; slot = schedule.Next(slot) {
		fmt.Fprintf(out, "%s%d", separator, slot.Unix())
		separator = " "
	}
	fmt.Fprintln(out)
	return nil
}
