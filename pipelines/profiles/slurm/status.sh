#!/usr/bin/env bash
# The state of job $1 in Snakemake 7's words.
case $(scontrol -o show job "$1" 2> /dev/null | grep -oE 'JobState=[A-Z_]+') in
  JobState=COMPLETED) echo success ;;
  JobState=PENDING | JobState=CONFIGURING | JobState=RUNNING | JobState=COMPLETING | JobState=SUSPENDED | JobState=REQUEUED) echo running ;;
  *) echo failed ;;
esac
