from facepaint.cli import main

main()
