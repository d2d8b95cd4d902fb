using System.CommandLine;
using KvPrune.Eval.Cli;
using Spectre.Console;

// Progress goes to the error stream: the standard output holds results alone.
var progress = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
// The default of two seconds would end the process in the middle of a long prompt.
var configuration = new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) };
return await EvalCommand.Create(Console.Out, Console.Error, progress).Parse(args).InvokeAsync(configuration);
