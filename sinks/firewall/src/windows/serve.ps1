# Answers requests, one a line: a word, and what it is about, apart by one blank. An answer is any number of lines, then
# `ok`, or `no` with the reason. What a line says is data throughout: nothing of it is run.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
$out = [Console]::Out
while ($null -ne ($line = [Console]::In.ReadLine())) {
  $word = $line.Split(' ')
  try {
    if ($word[0] -eq 'rules') {
      $rules = @(Get-NetFirewallRule -Group $word[1] -ErrorAction SilentlyContinue)
      foreach ($rule in $rules) {
        $from = @(($rule | Get-NetFirewallAddressFilter).RemoteAddress) -join ','
        $out.WriteLine((@('rule', $rule.Name, $rule.Enabled, $rule.Direction, $rule.Action, $from) -join ' '))
      }
    } elseif ($word[0] -eq 'put') {
      $from = $word[3].Split(',')
      if (Get-NetFirewallRule -Name $word[2] -ErrorAction SilentlyContinue) {
        Set-NetFirewallRule -Name $word[2] -Enabled True -Direction Inbound -Action Block -Profile Any -RemoteAddress $from
      } else {
        $null = New-NetFirewallRule -Name $word[2] -DisplayName $word[2] -Group $word[1] -Enabled True -Direction Inbound -Action Block -Profile Any -RemoteAddress $from
      }
    } elseif ($word[0] -eq 'take') {
      Remove-NetFirewallRule -Name $word[1] -ErrorAction Stop
    } elseif ($word[0] -eq 'profiles') {
      foreach ($one in @(Get-NetFirewallProfile -PolicyStore ActiveStore)) {
        $out.WriteLine((@('profile', $one.Name, $one.Enabled, $one.AllowLocalFirewallRules) -join ' '))
      }
    } else {
      throw 'no such word'
    }
    $out.WriteLine('ok')
  } catch {
    $out.WriteLine('no ' + ($_.Exception.Message -replace '[\r\n]+', ' '))
  }
  $out.Flush()
}
