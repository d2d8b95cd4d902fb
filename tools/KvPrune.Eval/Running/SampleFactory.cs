using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Running;

/// <summary>Makes samples of the wanted length by counting tokens.</summary>
internal sealed class SampleFactory(PromptEncoder prompts, int seed)
{
    /// <summary>The longest prompt of a task that has at most <paramref name="length"/> tokens, as far as its units allow.</summary>
    /// <exception cref="ArgumentException">Even the shortest document of the task is longer.</exception>
    public Sample Create(IEvalTask task, int length, int index)
    {
        int sampleSeed = Seeds.Of(seed, task.Name, length, index);
        int least = 0, most = length; // a unit has at least a token
        (Document Document, PromptEncoder.Prompt Prompt) best = Make(0);
        if (best.Prompt.Tokens.Length > length)
            throw new ArgumentException($"A prompt of task {task.Name} takes {best.Prompt.Tokens.Length} tokens or more; {length} are too few.");
        int floor = best.Prompt.Tokens.Length;
        while (least < most)
        {
            // By the slope so far, which is nearly constant; the bounds keep it from going astray.
            double slope = least == 0 ? 10 : (double)(best.Prompt.Tokens.Length - floor) / least;
            int guess = Math.Clamp((int)((length - floor) / Math.Max(slope, 1)), least + 1, most);
            var made = Make(guess);
            if (made.Prompt.Tokens.Length > length) most = guess - 1;
            else (least, best) = (guess, made);
        }
        (Document document, PromptEncoder.Prompt prompt) = best;
        int[] followUp = document.Second is { } second
            ? prompts.EncodeFollowUp(document.Text, document.First.Text, document.First.AnswerText, second.Text) : [];
        return new Sample(task.Name, length, index, prompt.Tokens, prompt.DocumentTokens, document.First, followUp, document.Second);

        (Document Document, PromptEncoder.Prompt Prompt) Make(int units)
        {
            Document document = task.Create(sampleSeed, units);
            return (document, prompts.Encode(document.Text, document.First.Text));
        }
    }
}
