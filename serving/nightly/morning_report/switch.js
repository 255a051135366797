(function () {
  var root = document.documentElement, button = document.getElementById("switch");
  function show(language) {
    root.lang = language;
    button.textContent = language === "zh" ? "English" : "中文";
    button.lang = language === "zh" ? "en" : "zh";
  }
  button.hidden = false;
  button.onclick = function () { show(root.lang === "zh" ? "en" : "zh"); };
  show(location.hash === "#zh" ? "zh" : "en");
})();
