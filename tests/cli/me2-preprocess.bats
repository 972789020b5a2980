@test "help" { run -0 me2-preprocess --help; [[ "$output" == *show* ]]; }
