using System.CommandLine;
using KvPrune.ModelBuilder.Cli;
using Spectre.Console;

var errors = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
// The default of two seconds would end the process, and leave its files behind, while a large tensor is still being written.
var configuration = new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(2) };
return await BuildCommand.Create(AnsiConsole.Console, errors).Parse(args).InvokeAsync(configuration).ConfigureAwait(false);
