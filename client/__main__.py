from client.commands.app import main

main()
