using KvPrune.Inspect;

return InspectCommand.Create(Console.Out, Console.Error).Parse(args).Invoke();
