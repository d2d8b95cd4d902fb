using KvPrune.ModelBuilder.Cli;
using Spectre.Console;

var errors = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
return await BuildCommand.Create(AnsiConsole.Console, errors).Parse(args).InvokeAsync().ConfigureAwait(false);
